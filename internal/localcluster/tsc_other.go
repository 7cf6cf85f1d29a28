//go:build !amd64

package localcluster

// tscKHz is unknown: 0. Emulated machines measure it themselves.
func tscKHz() int { return 0 }
