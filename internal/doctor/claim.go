package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// claimEntries says which reason a claim's fault is.
var claimEntries = map[ClaimKind]*Entry{
	ClaimMissing: claimMissing, ClaimTerminating: claimTerminating, ClaimLost: claimLost, ClaimNoVolume: claimNoVolume,
	ClaimSelector: claimSelector, ClaimSize: claimSize, ClaimModes: claimModes, ClaimClass: claimClass, ClaimReleased: claimReleased,
	ClaimTaken: claimTaken, ClaimVolumeMissing: claimVolumeMissing, ClaimSoon: claimSoon,
	ClaimShare: claimShare, ClaimDevice: claimDevice, ClaimVolumeMode: claimVolumeMode, ClaimStuck: claimStuck, ClaimDefaultClass: claimDefaultClass,
	ClaimVolumeFailed: claimVolumeFailed, ClaimVolumeLeaves: claimVolumeLeaves, ClaimFirstJob: claimFirstJob,
}

// Code is that of the catalogue; "" for no fault.
func (f ClaimFault) Code() string {
	if e := claimEntries[f.Kind]; e != nil {
		return e.Code
	}
	return ""
}

// claims is about the storages that are not bound. It tells whether there is one.
func (d *diagnosis) claims(tasks ...string) bool {
	found := false
	for _, s := range d.Storages {
		e := claimEntries[s.Claim.Kind]
		said, failed := lastEvent(s.Events, "ProvisioningFailed")
		if e == nil || (s.Claim.Kind == ClaimFirstJob && !failed) { // the scheduler says what that one waits for
			continue
		}
		found = true
		f := e.finding("storage "+string(s.Name), claimFix(s), "storage %q cannot be mounted: %s", s.Name, s.Claim.Text)
		f.Since = s.Claim.Since
		if failed {
			switch {
			case missingClass.MatchString(said.Message):
				f = claimClass.finding("storage "+string(s.Name), claimFix(s), "storage %q cannot be mounted: its storage class %s does not exist",
					s.Name, missingClass.FindStringSubmatch(said.Message)[1])
			case slices.Contains([]ClaimKind{ClaimNoVolume, ClaimClass, ClaimFirstJob}, s.Claim.Kind):
				f = claimProvision.finding("storage "+string(s.Name), "the evidence is what its provisioner says", "storage %q cannot be mounted: no volume can be made for it", s.Name)
			}
			f.Evidence, f.Since = said.Message, said.Last
		}
		d.add(f, tasks...)
	}
	return found
}

var missingClass = regexp.MustCompile(`storageclass(?:\.storage\.k8s\.io)? "?([^"\s]+)"? not found`)

// claimFix is the command that mends a claim.
func claimFix(s Storage) string {
	if s.Claim.Fix != "" {
		return s.Claim.Fix
	}
	switch s.Claim.Kind {
	case ClaimMissing, ClaimTerminating:
		return "declare it again, or submit the job without it: paictl storage list shows what there is"
	case ClaimSoon:
		return ""
	}
	return fmt.Sprintf("see: paictl storage show %s", s.Name)
}

func lastEvent(events []Event, reasons ...string) (Event, bool) {
	var last Event
	found := false
	for _, e := range events {
		for _, r := range reasons {
			if e.Reason == r && (!found || e.Last.After(last.Last)) {
				last, found = e, true
			}
		}
	}
	return last, found
}

// storageNamed finds a storage of the job.
func (d *diagnosis) storageNamed(name string) (Storage, bool) {
	for _, s := range d.Storages {
		if string(s.Name) == name {
			return s, true
		}
	}
	return Storage{}, false
}

// names lists storages with their types: nfs storage "home", samba storage "media".
func names(storages []Storage) string {
	var parts []string
	for _, s := range storages {
		parts = append(parts, describe(s))
	}
	return strings.Join(parts, ", ")
}

// describe names a storage with its type.
func describe(s Storage) string {
	if s.Type == "" || s.Type == pai.StorageUnknown || s.Type == pai.StorageOther {
		return fmt.Sprintf("storage %q", s.Name)
	}
	return fmt.Sprintf("%s storage %q", s.Type, s.Name)
}
