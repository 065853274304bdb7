"""The stand-in for the kernel's ipip driver."""
