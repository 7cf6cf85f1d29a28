// Package daemon wires the long-running programs together. It is the only place that builds things.
//
// One file for each program; cmd/ has a main of ten lines for each. Its rules: a program is a function of its arguments and streams that
// returns the exit status (0 done, 1 failed, 2 wrong arguments) and ends when its context does.
//
// Example:
//
//	os.Exit(daemon.RestServer(ctx, os.Args[1:], os.Stdout, os.Stderr))
package daemon

import "runtime/debug"

// version is the version of the program, as the Go command recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "v0.0.0-dev"
}
