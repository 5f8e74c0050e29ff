"""The same job done by what people would take instead, a file each: short, and tuned fairly."""
