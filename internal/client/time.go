package client

import (
	"encoding/json"
	"fmt"
	"time"
)

// Time is a time that the API writes as milliseconds since 1970. Written anew it is RFC 3339, as all other times are.
type Time struct{ time.Time }

// UnmarshalJSON reads the API's milliseconds, and RFC 3339.
func (t *Time) UnmarshalJSON(text []byte) error {
	var ms int64
	if err := json.Unmarshal(text, &ms); err == nil {
		t.Time = time.UnixMilli(ms).UTC()
		return nil
	}
	if err := t.Time.UnmarshalJSON(text); err != nil {
		return fmt.Errorf("%.40s is neither milliseconds since 1970 nor RFC 3339", text)
	}
	return nil
}
