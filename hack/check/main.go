// Command check runs the project's checks, one stage after the other, and says at the end what each has cost and what failed. "make test" runs all
// stages; it stops after the first that fails.
//
// The stages are lint, build, kubernetes, unit and system. With -pkg and -run a part of the tests runs:
//
//	go run ./hack/check unit -pkg ./internal/rest -run TestWho
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options choose what runs.
type options struct {
	stages  []string
	pkg     string // one package of the unit stage, as a path from the module's root; "" for all
	run     string // go test's -run
	timeout time.Duration
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !runAll(ctx, o, newReport(os.Stdout)) {
		os.Exit(1)
	}
}

// parse reads the command line: stages, and flags anywhere between them.
func parse(args []string) (options, error) {
	o := options{timeout: 85 * time.Minute}
	for i := 0; i < len(args); i++ {
		value := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			return ""
		}
		switch a := args[i]; a {
		case "-pkg":
			o.pkg = value()
		case "-run":
			o.run = value()
		default:
			if stages[a] == nil {
				return o, fmt.Errorf("check: there is no stage %q; the stages are lint, build, kubernetes, unit, system", a)
			}
			o.stages = append(o.stages, a)
		}
	}
	return o, nil
}

// stages by name; each returns what it has to say of itself besides its time.
var stages = map[string]func(context.Context, options, *report) error{
	"lint":       lint,
	"build":      build,
	"kubernetes": kubernetes,
	"unit":       unit,
	"system":     system,
}

// runAll runs the stages until one fails, and reports.
func runAll(ctx context.Context, o options, r *report) (ok bool) {
	for _, name := range o.stages {
		if err := stages[name](ctx, o, r); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				fmt.Fprintln(r.out, err)
			}
			r.fail(name)
			break
		}
	}
	r.print()
	return r.failed == ""
}

// lint looks at the sources: format, vet, static analysis, in both modules. staticcheck is a tool of the first module.
func lint(ctx context.Context, _ options, r *report) error {
	if err := r.step("format", func() error { return format(ctx) }); err != nil {
		return err
	}
	tool, err := output(ctx, "go", "tool", "-n", "staticcheck")
	if err != nil {
		return err
	}
	for _, c := range []struct {
		step, dir string
		args      []string
	}{
		{"vet", ".", []string{"go", "vet", "./..."}},
		{"vet object-mount", objectMount, []string{"go", "vet", "./..."}},
		{"staticcheck", ".", []string{tool, "./..."}},
		{"staticcheck object-mount", objectMount, []string{tool, "./..."}},
	} {
		if err := r.step(c.step, func() error { return command(ctx, c.dir, nil, c.args...).Run() }); err != nil {
			return err
		}
	}
	return nil
}

// objectMount is a module of its own.
const objectMount = "cmd/object-mount"

func format(ctx context.Context) error {
	names, err := output(ctx, "git", "ls-files", "*.go")
	if err != nil {
		return err
	}
	bad, err := output(ctx, "gofmt", append([]string{"-l"}, strings.Fields(names)...)...)
	if err == nil && bad != "" {
		err = fmt.Errorf("not formatted (make fmt):\n%s", bad)
	}
	return err
}

// build makes the programs, those for tests too.
func build(ctx context.Context, _ options, r *report) error {
	return r.step("build", func() error { return command(ctx, ".", nil, "make", "--no-print-directory", "build", "s3server").Run() })
}

// kubernetes builds what the tests run on.
func kubernetes(ctx context.Context, _ options, r *report) error {
	return r.step("kubernetes", func() error { return command(ctx, ".", nil, "bin/paictl", "up", "--prepare").Run() })
}

// unit runs the tests of all packages but the system's, with the race detector, which needs cgo.
func unit(ctx context.Context, o options, r *report) error {
	if err := r.step("packages", func() error {
		return command(ctx, ".", nil, "hack/install-packages", "gcc", "libc6-dev", "chromium").Run()
	}); err != nil {
		return err
	}
	here, beside := []string{o.pkg}, []string(nil)
	switch {
	case o.pkg == "":
		all, err := output(ctx, "go", "list", "./...")
		if err != nil {
			return err
		}
		here, beside = nil, []string{"./..."}
		for _, p := range strings.Fields(all) {
			if !strings.HasSuffix(p, "/test/system") {
				here = append(here, p)
			}
		}
	case strings.HasPrefix(o.pkg, "./"+objectMount):
		here, beside = nil, []string{"." + strings.TrimPrefix(o.pkg, "./"+objectMount)}
	}
	env := []string{"CGO_ENABLED=1", "PAI_TEST_ALL=1", "GOGC="} // what the compiler is given is not for the tests
	var failed error
	for _, t := range []testRun{
		{stage: "unit", dir: ".", env: env, args: append([]string{"-race"}, o.flags()...), packages: here},
		{stage: "unit object-mount", dir: objectMount, env: env, args: append([]string{"-race"}, o.flags()...), packages: beside},
	} {
		if len(t.packages) > 0 {
			failed = errors.Join(failed, r.tests(ctx, t))
		}
	}
	return failed
}

// system runs the tests on real clusters. They say what they do as they go.
func system(ctx context.Context, o options, r *report) error {
	for _, dir := range clusters("/proc") {
		fmt.Fprintf(r.out, "a local cluster runs beside the tests, and both are slower for it: %s\n", dir)
	}
	return r.tests(ctx, testRun{stage: "system", dir: ".", env: []string{"PAI_TEST_ALL=1", "GOGC="}, args: append([]string{"-count=1"}, o.flags()...), packages: []string{"./test/system"}, live: true})
}

// clusters are the state directories of the local clusters that run on this machine, from its list of processes.
func clusters(proc string) []string {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	if err != nil {
		return nil
	}
	var dirs []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		if len(args) == 4 && args[1] == "supervise" && args[2] == "--state-dir" {
			dirs = append(dirs, args[3])
		}
	}
	return dirs
}

func (o options) flags() []string {
	flags := []string{"-timeout", o.timeout.String()}
	if o.run != "" {
		flags = append(flags, "-run", o.run)
	}
	return flags
}

// command is one whose output people see. A signal to this program ends it, and its children get time to put things in order.
func command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = time.Minute
	return c
}

// output is what a command prints, without the last line's end.
func output(ctx context.Context, name string, args ...string) (string, error) {
	c := command(ctx, ".", nil, append([]string{name}, args...)...)
	c.Stdout = nil
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), err
}
