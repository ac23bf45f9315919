"""The Helm chart and the Dockerfiles."""
