package jobspec_test

import (
	"strings"
	"testing"

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
