"""What keeps the delivery log small and private: retention, erasure, a new key."""
