package system

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/docrun"
)

// pagesDir has the pages whose commands are typed. The overview is the first, by its name.
const pagesDir = "docs/storage"

// elsewhere are the variables of pages whose servers are not part of a cluster: the laboratory's. There are the container "archive" and the
// bucket "models".
var elsewhere = []string{"ACCOUNT", "ACCOUNT_KEY", "BLOB_ENDPOINT", "ACCESS_KEY", "SECRET_KEY", "S3_ENDPOINT"}

// pageVariables are those that the storage server of the guide gives. A share of Azure Files is one of SMB, and its account the user.
func pageVariables(server string) map[string]string {
	return map[string]string{"SERVER": server, "NODE": "worker1", "STAMP": fmt.Sprint(time.Now().Unix()),
		"SMB_USER": "smbuser", "SMB_PASSWORD": smbPassword,
		"FILE_ACCOUNT": "smbuser", "FILE_KEY": smbPassword, "FILE_SHARE": "data", "FILE_SERVER": server}
}

// pages are the steps of each page, by its name.
func pages(t testing.TB) map[string][]docrun.Step {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), pagesDir, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages in %s: %v", pagesDir, err)
	}
	out := map[string][]docrun.Step{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := docrun.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".md")] = steps
	}
	return out
}

// TestPagesCanBeTyped looks at what the pages need, without a cluster.
func TestPagesCanBeTyped(t *testing.T) {
	known := append(slices.Collect(maps.Keys(pageVariables(""))), elsewhere...)
	used := map[string]bool{}
	for name, steps := range pages(t) {
		if len(steps) == 0 {
			t.Errorf("%s.md has nothing to type", name)
		}
		for _, v := range docrun.Variables(steps) {
			used[v] = true
			if !slices.Contains(known, v) && !strings.HasPrefix(v, "PAI_") {
				t.Errorf("%s.md: nobody sets $%s", name, v)
			}
		}
		for _, s := range steps {
			if s.File == "" && regexp.MustCompile(`--from-literal=\S*(key|password)|password=[^$\s]`).MatchString(s.Text) {
				t.Errorf("%s.md, line %d: a secret on the command line", name, s.Line)
			}
		}
	}
	for _, v := range known {
		if !used[v] {
			t.Errorf("no page uses $%s", v)
		}
	}
}

// pagesTyped types the pages on the laboratory, whose servers they need.
func (f *typeLab) pagesTyped(t *testing.T) {
	// Whoever types is an administrator.
	f.paictl(t, "login", "--user", f.last.AdminUser, "--password-file", f.last.AdminPasswordFile).mustSucceed(t, "login")
	defer f.signIn(t, "alice", alicePassword)
	for _, w := range f.last.Workers {
		f.on(t, w.Name, "mkdir -p /srv/data")
	}
	f.makeContainer(t, "archive")
	variables := pageVariables("10.0.0.1")
	maps.Copy(variables, map[string]string{"ACCOUNT": azuriteAccount, "ACCOUNT_KEY": azuriteKey, "BLOB_ENDPOINT": azuriteEndpoint,
		"ACCESS_KEY": s3User, "SECRET_KEY": s3Password, "S3_ENDPOINT": s3Endpoint})
	f.typePages(t, variables)
}

// typePages types the pages in the order of their names.
func (c *cluster) typePages(t *testing.T, variables map[string]string) {
	path := filepath.Join(root(t), "bin") + ":" + filepath.Dir(c.last.Kubectl) + ":" + os.Getenv("PATH")
	all := pages(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			for _, v := range docrun.Variables(all[name]) {
				if _, known := variables[v]; !known && !strings.HasPrefix(v, "PAI_") {
					t.Fatalf("nobody sets $%s", v)
				}
			}
			r := docrun.Runner{Dir: t.TempDir(), Variables: variables, Env: append(slices.Clone(c.env), "KUBECONFIG="+c.last.Kubeconfig, "PATH="+path),
				Note: func(what string) { t.Log(what) }}
			if err := r.Run(t.Context(), all[name]); err != nil {
				t.Errorf("%s/%s.md: %v", pagesDir, name, err)
			}
		})
	}
}
