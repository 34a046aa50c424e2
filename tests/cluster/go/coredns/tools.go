//go:build tools

// Package coredns pins the name server of the tests' cluster. The build tag keeps it from being
// compiled; `go mod tidy` reads it all the same.
package coredns

import (
	_ "github.com/coredns/coredns"
)
