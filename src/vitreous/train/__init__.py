"""One method-blind training loop on Lightning Fabric."""
