"""The page's server: what it answers, and to whom."""
