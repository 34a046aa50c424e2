"""The objects that a job consists of, as whole manifests: ServiceAccount, RoleBinding, ConfigMap and RayJob."""
