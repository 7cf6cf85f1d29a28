package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/rclone/rclone/lib/encoder"
)

// refusedTries is after how many refusals in a row a file that the store refuses for good is given up, once nobody can rename it any more.
const refusedTries = 3

// failure is what the library says of an upload that did not work: its name, which try it was, and why.
var failure = regexp.MustCompile(`(?s)^(?:.*?[A-Z]+ *: )?(.*): vfs cache: failed to upload try #(\d+), will retry in \S+: (.*)$`)

var (
	answerStatus = regexp.MustCompile(`(?:StatusCode: |RESPONSE )(\d{3})\b`)
	answerCode   = regexp.MustCompile(`(?:api error |ERROR CODE: )(\w+)`)
)

// final are the codes of answers 4xx that are about the file itself, its name or its size, which nothing changes. Every other answer may be another one
// tomorrow: containers come back, quotas grow, leases end, and what stands between us and a store has answers of its own.
var final = []string{
	"KeyTooLongError", "KeyTooLong", "InvalidObjectName", "InvalidURI", "EntityTooLarge", // S3
	"XMinioInvalidObjectName", "XMinioInvalidResourceName", // MinIO
	"InvalidResourceName", "InvalidUri", "OutOfRangeInput", "RequestBodyTooLarge", "BlockCountExceedsLimit", // Azure
}

// refuses tells whether a store's answer, as the library tells it, is for good.
func refuses(text string) bool {
	status, code := answerStatus.FindStringSubmatch(text), answerCode.FindStringSubmatch(text)
	return status != nil && status[1][0] == '4' && code != nil && slices.Contains(final, code[1])
}

// refusal is that the store refuses a file.
type refusal struct {
	why   string
	try   int  // the library's number of the last try
	times int  // in a row
	last  bool // one of them was a last try, which nobody could help any more
}

// forGood tells whether a file was refused so often that no further try is worth while before the last one.
func (r refusal) forGood() bool { return r.times >= refusedTries }

// giveUp moves what the store refuses for good to where lost files are, so that the others do not wait for it. Nobody may be able to rename it any more.
func (s *served) giveUp(ctx context.Context) {
	for _, item := range s.queue.list(ctx) {
		r := s.log.refusal(item.Name)
		if item.Uploading || !r.forGood() || !r.last {
			continue
		}
		to, err := s.lose(item.Name, r.why)
		if err != nil {
			s.log.printf("%s: the store refuses it, and it cannot be moved away: %v", item.Name, err)
			continue
		}
		s.log.printf("%s: the store refuses it for good: %s; it is kept in %s", item.Name, r.why, to)
		s.queue.now(ctx, item) // which finds that the file is gone, and is done with it
	}
}

// lose moves a file, with its record, out of the cache. It lies where the engine has caches of processes that ended before they were done, and
// in the same form.
func (s *served) lose(name, why string) (string, error) {
	place := filepath.Dir(filepath.Clean(s.request.Cache))
	if s.lost == "" {
		s.lost = mount.Lost(place)
	}
	if err := os.MkdirAll(s.lost, 0o700); err != nil {
		return "", err
	}
	record, err := os.ReadFile(filepath.Join(place, mount.RecordFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.lost, mount.RecordFile), record, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.lost, faultFile), []byte(why), 0o600)
	}
	if err != nil {
		return "", err
	}
	var to string
	for _, kind := range []string{"vfsMeta", "vfs"} { // a file without a record counts as lost, too, but not the other way round
		inside := filepath.Join(kind, remoteName, s.root, encoder.OS.FromStandardPath(name))
		to = filepath.Join(s.lost, "cache", inside)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", err
		}
		err := os.Rename(filepath.Join(s.request.Cache, inside), to)
		if err != nil && !(kind == "vfsMeta" && errors.Is(err, fs.ErrNotExist)) {
			return "", fmt.Errorf("keep it: %w", err)
		}
	}
	return to, nil
}
