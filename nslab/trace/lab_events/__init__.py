"""What happens in a lab, in Kubernetes' terms."""
