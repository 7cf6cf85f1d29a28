// Package smbaccount is the record of a user's SMB account: what the REST server writes and the storage manager reads.
//
// A record is a Secret in a namespace that holds nothing else. It has the NT hash of the password, which SMB takes in place of the password,
// and never the password.
package smbaccount

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Namespace of the records. A record's name is the user's in hexadecimal.
const Namespace = "pai-storage-account"

// Record is one account.
type Record struct {
	User  string
	Hash  string    // NT hash, upper-case hexadecimal
	Set   time.Time // when the password was set
	Admin bool      // may use the shares users and root
}

// Name is the record's name for a user.
func Name(user string) string { return hex.EncodeToString([]byte(user)) }

// Data is the record as a Secret has it.
func (r Record) Data() map[string][]byte {
	return map[string][]byte{
		"username": []byte(r.User), "nthash": []byte(r.Hash), "set": []byte(r.Set.UTC().Format(time.RFC3339)), "admin": fmt.Appendf(nil, "%t", r.Admin),
	}
}

// Parse reads the record of that name. Its errors say nothing of the hash.
func Parse(name string, data map[string][]byte) (Record, error) {
	r := Record{User: string(data["username"]), Hash: string(data["nthash"]), Admin: string(data["admin"]) == "true"}
	if r.User == "" || Name(r.User) != name {
		return Record{}, errors.New("the user name does not belong to this Secret")
	}
	if raw, err := hex.DecodeString(r.Hash); err != nil || len(raw) != 16 {
		return Record{}, errors.New("the NT hash is not 32 hexadecimal digits")
	}
	set, err := time.Parse(time.RFC3339, string(data["set"]))
	if err != nil {
		return Record{}, errors.New("the time is not one")
	}
	r.Set = set
	return r, nil
}
