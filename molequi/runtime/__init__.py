"""What every program needs beside its science: files, signals, bundled resources."""
