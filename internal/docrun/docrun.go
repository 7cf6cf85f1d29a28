// Package docrun runs the commands of a page of the documentation, so that none of them is one that nobody has typed.
//
// Use it in tests, for pages that promise to be right. Its rules:
//
//   - A block that is marked sh is a script. One marked console is a session: lines that begin with "$ " are typed, what follows is expected.
//   - In what is expected, "…" stands for anything: alone on a line for any lines, else for any text. Runs of blanks are one blank. A last line
//     "[exit status 3]" says how the command ends; without it, it has to end well.
//   - A block after a line that ends in "Save as `NAME`:" is written to that file of the working directory.
//   - A block after the comment "<!-- not run: REASON -->" is left alone, and so is one that is marked otherwise, or not at all.
//   - $NAME in capital letters is a variable of the runner, in files as well.
//
// Example:
//
//	page, err := docrun.Parse(text)
//	err = docrun.Runner{Dir: t.TempDir(), Variables: map[string]string{"SERVER": "10.0.0.1"}}.Run(ctx, page)
package docrun

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
)

// Step is a file to be written, or a command to be run.
type Step struct {
	Line    int    // of the page
	File    string // name; "" for a command
	Text    string // the file's, or the script
	Session bool   // what it says is compared with Want
	Want    []string
	Status  int
}

var (
	fence    = regexp.MustCompile("^(\\s*)```\\s*([a-z]*)\\s*$")
	saveAs   = regexp.MustCompile("(?i)save (?:it |this |that )?as `([A-Za-z0-9][A-Za-z0-9._-]*)`[^`]*:$")
	notRun   = regexp.MustCompile(`^<!-- not run: \S.* -->$`)
	exitLine = regexp.MustCompile(`^\[exit status ([0-9]+)\]$`)
	variable = regexp.MustCompile(`\$([A-Z][A-Z0-9_]*)\b`)
)

// Parse reads the steps of a page.
func Parse(page string) ([]Step, error) {
	var steps []Step
	lines := strings.Split(page, "\n")
	before := "" // the last line that is not empty
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			if text := strings.TrimSpace(lines[i]); text != "" {
				before = text
			}
			continue
		}
		start, indent := i+1, m[1]
		var block []string
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			block = append(block, strings.TrimPrefix(lines[i], indent))
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the block does not end", start)
		}
		made, err := blockSteps(start, m[2], before, block)
		if err != nil {
			return nil, err
		}
		steps, before = append(steps, made...), ""
	}
	return steps, nil
}

// blockSteps are those of one block, whose first line is the page's line start+1.
func blockSteps(start int, kind, before string, block []string) ([]Step, error) {
	text := strings.Join(block, "\n") + "\n"
	if notRun.MatchString(before) {
		return nil, nil
	}
	if m := saveAs.FindStringSubmatch(before); m != nil {
		return []Step{{Line: start, File: m[1], Text: text}}, nil
	}
	switch kind {
	case "sh":
		return []Step{{Line: start, Text: text}}, nil
	case "console":
		return session(start, block)
	}
	return nil, nil
}

func session(start int, block []string) ([]Step, error) {
	var steps []Step
	for i, line := range block {
		typed, is := strings.CutPrefix(line, "$ ")
		switch {
		case is:
			steps = append(steps, Step{Line: start + 1 + i, Text: typed + "\n", Session: true})
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: a session begins with \"$ \"", start+1+i)
		default:
			last := &steps[len(steps)-1]
			if strings.HasSuffix(last.Text, "\\\n") && len(last.Want) == 0 {
				last.Text += line + "\n"
				continue
			}
			last.Want = append(last.Want, line)
		}
	}
	for i := range steps {
		s := &steps[i]
		if n := len(s.Want); n > 0 {
			if m := exitLine.FindStringSubmatch(s.Want[n-1]); m != nil {
				s.Status, _ = strconv.Atoi(m[1])
				s.Want = s.Want[:n-1]
			}
		}
		if strings.HasSuffix(s.Text, "\\\n") {
			return nil, fmt.Errorf("line %d: the command does not end", s.Line)
		}
	}
	return steps, nil
}

// Variables lists those that the steps use and do not set themselves, sorted.
func Variables(steps []Step) []string {
	var used []string
	for _, s := range steps {
		for _, m := range variable.FindAllStringSubmatch(s.Text, -1) {
			used = append(used, m[1])
		}
	}
	slices.Sort(used)
	return slices.DeleteFunc(slices.Compact(used), func(name string) bool {
		set := regexp.MustCompile(`(?m)(^|[\s;(])` + name + `=`)
		return slices.ContainsFunc(steps, func(s Step) bool { return s.File == "" && set.MatchString(s.Text) })
	})
}

// Runner runs steps, each command in a shell of its own.
type Runner struct {
	Dir       string            // where files are written, and commands run
	Variables map[string]string // for commands they are in the environment
	Env       []string          // more for the commands, over this process's own
	Limit     time.Duration     // for one command; 0 for [await.Limit]
	Note      func(string)      // what is done, for a log; may be nil
}

// Run stops at the first step that is not as the page has it, and names its line.
func (r Runner) Run(ctx context.Context, steps []Step) error {
	for _, s := range steps {
		if err := r.step(ctx, s); err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	return nil
}

func (r Runner) step(ctx context.Context, s Step) error {
	if s.File != "" {
		text := variable.ReplaceAllStringFunc(s.Text, func(v string) string {
			if value, known := r.Variables[v[1:]]; known {
				return value
			}
			return v
		})
		return os.WriteFile(filepath.Join(r.Dir, s.File), []byte(text), 0o600)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Limit, await.Limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", s.Text)
	cmd.Dir, cmd.Env, cmd.WaitDelay = r.Dir, append(os.Environ(), r.Env...), 5*time.Second
	for name, value := range r.Variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if r.Note != nil {
		r.Note(fmt.Sprintf("$ %s%s", s.Text, said.String()))
	}
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return fmt.Errorf("%s: %w", strings.TrimSpace(s.Text), err)
	case cmd.ProcessState.ExitCode() != s.Status:
		return fmt.Errorf("%s: exit status %d instead of %d:\n%s", strings.TrimSpace(s.Text), cmd.ProcessState.ExitCode(), s.Status, said.String())
	case s.Session && !Matches(s.Want, said.String()):
		return fmt.Errorf("%s: it says\n%sand the page\n%s", strings.TrimSpace(s.Text), said.String(), strings.Join(s.Want, "\n"))
	}
	return nil
}

// Matches tells whether a command said what was expected.
func Matches(want []string, said string) bool {
	pattern := `\A`
	for _, line := range want {
		if strings.TrimSpace(line) == "…" {
			pattern += `(?:.*\n)*?`
			continue
		}
		parts := strings.Split(blanks(line), "…")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		pattern += strings.Join(parts, ".*") + `\n`
	}
	var lines string
	for line := range strings.SplitSeq(strings.Trim(said, "\n"), "\n") {
		lines += blanks(line) + "\n"
	}
	if strings.TrimSpace(said) == "" {
		lines = ""
	}
	return regexp.MustCompile(pattern + `\z`).MatchString(lines)
}

func blanks(line string) string { return strings.Join(strings.Fields(line), " ") }
