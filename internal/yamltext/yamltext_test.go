package yamltext_test

import (
	"testing"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// TestText: a byte order mark says nothing, and what is no UTF-8 is told with the way out.
func TestText(t *testing.T) {
	for source, want := range map[string]string{
		"a: 1\n":              "a: 1\n",
		"\uFEFFa: 1\n":        "a: 1\n",
		"":                    "",
		"a":                   "a",
		"a: \uFEFF Größe 🙂\n": "a: \uFEFF Größe 🙂\n",
	} {
		if got, err := yamltext.Text([]byte(source)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", source, got, err)
		}
	}
	const unicode = `the text is in UTF-16, which Notepad calls "Unicode": save it as UTF-8`
	for source, want := range map[string]string{
		"\xFF\xFEa\x00:\x00":     unicode,
		"\xFE\xFF\x00a\x00:":     unicode,
		"a\x00:\x00 \x001\x00":   unicode,
		"\x00a\x00:\x00 \x001":   unicode,
		"a: 1\nö: Gr\xF6\xDFe\n": "line 2, column 6: a character that is not in UTF-8: save the text as UTF-8",
		"\uFEFFa: \xE9":          "line 1, column 4: a character that is not in UTF-8: save the text as UTF-8",
	} {
		if _, err := yamltext.Text([]byte(source)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", source, err)
		}
		if _, err := yamltext.Parse([]byte(source)); err == nil || err.Error() != want {
			t.Errorf("parsing %q: %v", source, err)
		}
	}
}
