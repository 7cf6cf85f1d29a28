package client

import (
	"encoding/json"
	"testing"
)

func TestTime(t *testing.T) {
	for text, want := range map[string]string{
		"null":                       "null",
		"0":                          `"1970-01-01T00:00:00Z"`,
		"1795735477123":              `"2026-11-26T23:24:37.123Z"`,
		`"2026-11-26T23:24:37.123Z"`: `"2026-11-26T23:24:37.123Z"`,
		`"soon"`:                     "",
	} {
		var got *Time
		err := json.Unmarshal([]byte(text), &got)
		if want == "" {
			if err == nil || err.Error() != `"soon" is neither milliseconds since 1970 nor RFC 3339` {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if again, fault := json.Marshal(got); err != nil || fault != nil || string(again) != want {
			t.Errorf("%s: %s, %v, %v; want %s", text, again, err, fault, want)
		}
	}
}
