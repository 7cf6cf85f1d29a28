//go:build tools

// Package kubernetes lists the mains that are built besides ours, so that go mod tidy keeps them.
package kubernetes

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
