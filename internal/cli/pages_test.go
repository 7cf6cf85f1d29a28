package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/docrun"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestPagesDeclare types every "paictl storage add" of docs/storage with --dry-run: the flags are there, and the server takes what it gets.
func TestPagesDeclare(t *testing.T) {
	files, err := filepath.Glob("../../docs/storage/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	var pages [][]docrun.Step
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := docrun.Parse(string(text))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, steps)
	}
	s := servertest.Start(t, nil)
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("PAI_SERVER", s.URL)
	if code, out := typed(t, "login", "--user", "admin", "--password-file", writtenFile(t, "admin.password", "secret-admin\n")); code != 0 {
		t.Fatal(out)
	}
	values := strings.NewReplacer("$SERVER", "10.0.0.1", "$NODE", "worker1", "$SMB_USER", "u", "$SMB_PASSWORD", "CANARY", "$ACCOUNT_KEY", "CANARY", "$ACCOUNT", "team1",
		"$BLOB_ENDPOINT", "http://10.0.0.254:10000/team1", "$FILE_ACCOUNT", "team1", "$FILE_KEY", "CANARY", "$FILE_SHARE", "data", "$FILE_SERVER", "10.0.0.1",
		"$ACCESS_KEY", "a", "$SECRET_KEY", "CANARY", "$S3_ENDPOINT", "http://10.0.0.254:9000")
	declared := regexp.MustCompile(`storage (\S+) is declared: (\S+),`)
	done := 0
	for i, steps := range pages {
		for _, step := range steps {
			text := values.Replace(step.Text)
			if step.File != "" {
				writtenFile(t, step.File, text)
				continue
			}
			for command := range strings.SplitSeq(text, "\n") {
				args := strings.Fields(command)
				if len(args) < 4 || strings.Join(args[:3], " ") != "paictl storage add" {
					continue
				}
				done++
				code, out := typed(t, append(args[1:], "--dry-run")...)
				if code != step.Status || strings.Contains(out, "CANARY") {
					t.Errorf("%s, line %d: exit status %d, want %d: %s", files[i], step.Line, code, step.Status, out)
				}
				if m := declared.FindStringSubmatch(strings.Join(step.Want, "\n")); m != nil && (m[1] != args[3] || (!strings.Contains(out, "type: "+m[2]) && !strings.Contains(out, m[2]+":"))) {
					t.Errorf("%s, line %d: the page says %s, and it is\n%s", files[i], step.Line, m[0], out)
				}
			}
		}
	}
	if done < 15 {
		t.Errorf("only %d commands are typed", done)
	}
}

func writtenFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// typed runs paictl, and returns the exit status and everything that it said.
func typed(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var said bytes.Buffer
	code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &said, Err: &said})
	return code, said.String()
}
