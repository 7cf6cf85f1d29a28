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
	"strconv"
	"time"

	"github.com/rclone/rclone/lib/encoder"
)

// refusedTries is after how many tries a file that the store refuses for good is given up, once nobody can rename it any more.
const refusedTries = 3

// failure is what the library says of an upload that did not work: its name, and why.
var failure = regexp.MustCompile(`(?s)^(?:.*?[A-Z]+ *: )?(.*): vfs cache: failed to upload try #\d+, will retry in \S+: (.*)$`)

var (
	answerStatus = regexp.MustCompile(`(?:StatusCode: |RESPONSE )(\d{3})\b`)
	answerCode   = regexp.MustCompile(`(?:api error |ERROR CODE: )(\w+)`)
)

// mendable are answers 4xx that another time, another key or another setting changes.
var mendable = []string{
	"RequestTimeout", "OperationAborted", "SlowDown", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed",
	"RequestTimeTooSkewed", "InvalidAuthenticationInfo", "AuthenticationFailed", "ServerBusy", "OperationTimedOut",
}

// refuses tells whether a store's answer, as the library tells it, is for good.
func refuses(text string) bool {
	found := answerStatus.FindStringSubmatch(text)
	if found == nil {
		return false
	}
	status, _ := strconv.Atoi(found[1])
	if status < 400 || status > 499 || slices.Contains([]int{401, 403, 408, 429}, status) {
		return false
	}
	code := answerCode.FindStringSubmatch(text)
	return code == nil || !slices.Contains(mendable, code[1])
}

// giveUp moves what the store refuses for good to where lost files are, so that the others do not wait for it.
func (s *served) giveUp(ctx context.Context) {
	for _, item := range s.queue.list(ctx) {
		why := s.log.refusal(item.Name)
		if item.Uploading || item.Tries < refusedTries || why == "" {
			continue
		}
		to, err := s.lose(item.Name, why)
		if err != nil {
			s.log.printf("%s: the store refuses it, and it cannot be moved away: %v", item.Name, err)
			continue
		}
		s.log.printf("%s: the store refuses it for good: %s; it is kept in %s", item.Name, why, to)
		s.queue.now(ctx, item) // which finds that the file is gone, and is done with it
	}
}

// lose moves a file, with its record, out of the cache. It lies where the engine has caches of processes that ended before they were done, and
// in the same form.
func (s *served) lose(name, why string) (string, error) {
	place := filepath.Dir(filepath.Clean(s.request.Cache))
	if s.lost == "" {
		s.lost = filepath.Join(filepath.Dir(filepath.Dir(place)), "lost", filepath.Base(place)+"-"+time.Now().UTC().Format("20060102T150405.000"))
	}
	if err := os.MkdirAll(s.lost, 0o700); err != nil {
		return "", err
	}
	record, err := os.ReadFile(filepath.Join(place, recordFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.lost, recordFile), record, 0o600)
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
