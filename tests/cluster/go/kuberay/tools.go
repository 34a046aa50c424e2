//go:build tools

// Package kuberay pins the KubeRay operator of the tests' cluster, whose CRDs come with its module.
// The build tag keeps it from being compiled; `go mod tidy` reads it all the same.
package kuberay

import (
	_ "github.com/ray-project/kuberay/ray-operator"
)
