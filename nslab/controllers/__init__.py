"""What Kubernetes' controllers decide: rollouts, replicas, their Events. Pure: a lab in, a lab out."""
