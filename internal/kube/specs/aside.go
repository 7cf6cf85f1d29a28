package specs

import (
	"encoding/json"
	"fmt"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// SetAside says why a job that has no tasks now is to have some again: they could not mount the job's storages for too long, and gave back the
// workers that they held. It is kept on the Jobs of all task roles, and stays there when the job goes on, for the next time.
type SetAside struct {
	Since   time.Time   `json:"since"`
	Until   time.Time   `json:"until"` // when the tasks are made again
	Times   int         `json:"times"` // how often this happened
	Finding pai.Finding `json:"finding"`
	// Failing are the storages that the checks of workers found at fault. When they find none of them so, the job goes on at once.
	Failing []pai.StorageName `json:"failing,omitempty"`
}

// Text is the value of [AsideAnnotation].
func (s SetAside) Text() string { return string(encode(s)) }

// ParseSetAside reads the value of [AsideAnnotation]; nil for none.
func ParseSetAside(text string) (*SetAside, error) {
	if text == "" {
		return nil, nil
	}
	var s SetAside
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", AsideAnnotation, err)
	}
	return &s, nil
}
