"""The package as a program uses it: what `import ostinato` offers."""
