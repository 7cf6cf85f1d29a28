package jobspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/jobspec"
)

func TestRename(t *testing.T) {
	const document = "# what it is for\nprotocolVersion: 2\nname: train # changes\ntype: job\nprerequisites:\n  - name: image\n"
	got, err := jobspec.Rename([]byte(document), "train-7")
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.Contains(text, `name: "train-7"`) || !strings.Contains(text, "  - name: image") || !strings.Contains(text, "# what it is for") {
		t.Errorf("renamed:\n%s", text)
	}
	for _, bad := range []string{"type: job\n", "- 1\n", "a: b: CANARY\n", ""} {
		text, err := jobspec.Rename([]byte(bad), "x")
		if err == nil {
			t.Errorf("%q became %q", bad, text)
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error quotes the document: %v", err)
		}
	}
}

// TestByteOrderMark: a document from an editor that begins it with a mark is the same job, and one in UTF-16 is told how to be saved.
func TestByteOrderMark(t *testing.T) {
	plain, err := jobspec.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	marked, err := jobspec.Parse([]byte("\uFEFF" + good))
	if diff := cmp.Diff(plain, marked); err != nil || diff != "" {
		t.Errorf("with a mark (-without +with): %v\n%s", err, diff)
	}
	renamed, err := jobspec.Rename([]byte("\uFEFFname: a\n"), "b")
	if err != nil || string(renamed) != "name: \"b\"\n" {
		t.Errorf("renamed: %q, %v", renamed, err)
	}
	const utf16 = "\xFF\xFEn\x00a\x00m\x00e\x00:\x00 \x00a\x00"
	if _, err := jobspec.Parse([]byte(utf16)); err == nil || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Errorf("in UTF-16: %v", err)
	}
	if _, err := jobspec.Rename([]byte(utf16), "b"); err == nil || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Errorf("renaming in UTF-16: %v", err)
	}
}
