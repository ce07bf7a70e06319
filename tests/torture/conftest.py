"""The harness counts processes and memory by /proc, and protects pages by Linux's own numbers."""

import sys

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]
