"""Networks: ECG vision transformer, masked autoencoder, CMR encoder, projection heads."""
