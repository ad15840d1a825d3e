"""What the product's own steps take on a GPU, at published shapes (`../gpu_check.sh`)."""
