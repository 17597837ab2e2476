"""Measure the speed and the quality of trainings, compared with plain PyTorch loops."""
