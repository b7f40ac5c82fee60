"""Network description, numerics, golden model, quantiser, training and data sets. No hardware."""
