"""Ab initio reconstruction by marginalised projection matching."""
