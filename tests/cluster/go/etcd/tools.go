//go:build tools

// Package etcd pins the etcd server that thaw's tests start. The build tag keeps it from being
// compiled; `go mod tidy` reads it all the same.
package etcd

import (
	_ "go.etcd.io/etcd/server/v3"
)
