package rest_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestDocs looks for every operation on the page, and for anything that the page would load.
func TestDocs(t *testing.T) {
	s := servertest.Start(t, nil)
	resp, page := do(t, s, "GET", "/docs", "", "", "")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("got %d, %s", resp.StatusCode, resp.Header)
	}
	for id := range operations(s) {
		if !strings.Contains(page, `id="`+id+`"`) {
			t.Errorf("operation %s is not on the page", id)
		}
	}
	if found := regexp.MustCompile(`(?i)<script|<link|<img|@import|url\(|https?://`).FindAllString(page, -1); found != nil {
		t.Errorf("the page loads something: %q", found)
	}
	for _, want := range []string{"data.extension", "For administrators, with a bearer token.", "The default storages only", "storages[].name"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
