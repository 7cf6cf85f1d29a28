package clusterconfig_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var yamlBlock = regexp.MustCompile("(?ms)^```ya?ml\n(.*?)^```$")

// TestPagesConfigure takes every section storage-manager that a page of docs shows: it can be copied as it is.
func TestPagesConfigure(t *testing.T) {
	done := 0
	err := filepath.WalkDir("../../docs", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, block := range yamlBlock.FindAllSubmatch(text, -1) {
			section := string(block[1])
			if !strings.HasPrefix(section, "storage-manager:") && !strings.Contains(section, "\nstorage-manager:") {
				continue
			}
			done++
			if _, err := parse(goodLayout, section); err != nil {
				t.Errorf("%s:\n%v\n%s", path, err, section)
			}
		}
		return nil
	})
	if err != nil || done < 2 {
		t.Errorf("%d sections, error %v", done, err)
	}
}
