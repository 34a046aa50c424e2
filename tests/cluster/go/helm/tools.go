//go:build tools

// Package helm pins the program that installs thaw's chart in the tests' cluster. The build tag
// keeps it from being compiled; `go mod tidy` reads it all the same.
package helm

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
