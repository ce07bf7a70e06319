/* A disk that loses what it may: loaded before the C library (LD_PRELOAD) by kills.py.

   Counts the calls by which a process writes below a folder (open for writing, write, fsync, rename, truncate,
   unlink), and kills it before the n-th. Of every file it keeps what had reached the disk at its last fsync, and of
   the folders what has been made and renamed since theirs: kills.py takes away the rest.

   The shadow folder holds INODE, a file's content at its last fsync; old-N, what a rename replaced; and log:
   "create PATH", "rename N PATH FROM TO", "folder PATH" for a folder's fsync, with tabs between. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char prefix[PATH_MAX], shadow[PATH_MAX];
static long calls, last = -1, renames;
static int armed, inside, half;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void disk_arm(const char *folder, const char *kept, long die_at, int write_half) {
  snprintf(prefix, sizeof prefix, "%s/", folder);
  snprintf(shadow, sizeof shadow, "%s", kept);
  calls = renames = 0;
  last = die_at;
  half = write_half;
  armed = 1;
}

long disk_calls(void) { return calls; }

static int below(const char *path) {
  char whole[PATH_MAX * 2];
  if (!armed || inside || path == NULL) return 0;
  if (path[0] == '/') return strncmp(path, prefix, strlen(prefix)) == 0;
  if (getcwd(whole, PATH_MAX) == NULL) return 0;
  strcat(whole, "/");
  strncat(whole, path, PATH_MAX - 1);
  return strncmp(whole, prefix, strlen(prefix)) == 0;
}

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return 1;
}

static int is_below(int fd) {
  char path[PATH_MAX];
  return armed && !inside && path_of(fd, path) && below(path);
}

/* Before a call that writes; returns whether it is the last, of which half is still done. */
static int counted(int can_be_half) {
  if (calls++ == last) {
    if (!(half && can_be_half)) kill(getpid(), SIGKILL);
    return 1;
  }
  return 0;
}

static void note(const char *format, ...) {
  char path[PATH_MAX + 8], line[PATH_MAX * 3];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  snprintf(path, sizeof path, "%s/log", shadow);
  int fd = REAL(open64)(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd >= 0) {
    if (REAL(write)(fd, line, n) < 0) abort();
    close(fd);
  }
}

static void full(const char *path, char *whole) {
  if (path[0] == '/' || getcwd(whole, PATH_MAX) == NULL)
    snprintf(whole, PATH_MAX * 2, "%s", path);
  else
    snprintf(whole + strlen(whole), PATH_MAX, "/%s", path);
}

static void kept_of(const struct stat *status, char *path) {
  snprintf(path, PATH_MAX + 32, "%s/%lu", shadow, (unsigned long)status->st_ino);
}

static void keep(int fd) {
  char path[PATH_MAX + 32], from[64], block[65536];
  struct stat status;
  if (fstat(fd, &status)) return;
  inside = 1;
  if (S_ISDIR(status.st_mode)) {
    if (path_of(fd, path)) note("folder\t%s\n", path);
  } else {
    kept_of(&status, path);
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    int in = REAL(open64)(from, O_RDONLY), out = REAL(open64)(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;
    while (in >= 0 && out >= 0 && (n = read(in, block, sizeof block)) > 0)
      if (REAL(write)(out, block, n) < 0) abort();
    if (in >= 0) close(in);
    if (out >= 0) close(out);
  }
  inside = 0;
}

static void created(const char *path) {
  char whole[PATH_MAX * 2], kept[PATH_MAX + 32];
  struct stat status;
  inside = 1;
  full(path, whole);
  if (stat(path, &status) == 0) {
    kept_of(&status, kept);
    REAL(unlink)(kept); /* the inode of a file of before */
  }
  note("create\t%s\n", whole);
  inside = 0;
}

static int opening(const char *path, int flags) { return (flags & (O_CREAT | O_TRUNC)) && below(path); }

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    va_list list;                                                        \
    va_start(list, flags);                                               \
    int mode = (flags & O_CREAT) ? va_arg(list, int) : 0;                \
    va_end(list);                                                        \
    if (!opening(path, flags)) return REAL(name)(path, flags, mode);     \
    int is_new = access(path, F_OK) != 0;                                \
    counted(0);                                                          \
    int fd = REAL(name)(path, flags, mode);                              \
    if (fd >= 0 && is_new) created(path);                                \
    return fd;                                                           \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) {
  if (!is_below(fd)) return REAL(write)(fd, data, size);
  if (counted(1)) {
    if (REAL(write)(fd, data, size / 2) >= 0) kill(getpid(), SIGKILL);
  }
  return REAL(write)(fd, data, size);
}

#define SYNC(name)                                  \
  int name(int fd) {                                \
    int ours = is_below(fd);                        \
    if (ours) counted(0);                           \
    int result = REAL(name)(fd);                    \
    if (ours && result == 0) keep(fd);              \
    return result;                                  \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, type)                \
  int name(int fd, type size) {             \
    if (is_below(fd)) counted(0);           \
    return REAL(name)(fd, size);            \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
  char old[PATH_MAX + 32], first[PATH_MAX * 2], second[PATH_MAX * 2];
  if (!below(to)) return REAL(rename)(from, to);
  counted(0);
  inside = 1;
  snprintf(old, sizeof old, "%s/old-%ld", shadow, renames);
  int there = link(to, old) == 0;
  int result = REAL(rename)(from, to);
  full(from, first);
  full(to, second);
  if (result == 0) note("rename\t%s\t%s\t%s\n", there ? old : "", first, second);
  renames++;
  inside = 0;
  return result;
}

int unlink(const char *path) {
  if (below(path)) counted(0);
  return REAL(unlink)(path);
}
