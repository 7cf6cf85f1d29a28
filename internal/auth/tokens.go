package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// maxApplicationTokens bounds the application tokens of a user, which do not go by themselves.
const maxApplicationTokens = 100

// IssueApplicationToken makes a token for a user's programs. It is good for jobs only and does not expire. ForbiddenUserError when the user
// has too many.
func (a *Accounts) IssueApplicationToken(ctx context.Context, user pai.UserName) (string, error) {
	token, err := a.signer.issue(user, true, 0)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	err = a.cluster.AddApplicationToken(ctx, user, token, func(listed []string) ([]string, error) {
		count := 0
		for _, old := range listed {
			if c, err := a.signer.read(old); err == nil && c.Application {
				count++
			}
		}
		if count >= maxApplicationTokens {
			return nil, pai.Errorf(pai.ForbiddenUserError, "User %s has %d application tokens, which is the most: revoke one that is not needed any more.", user, count)
		}
		return a.prune(listed), nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// IssueApplication makes an application token for the caller. The guard decides who may.
func (a *Accounts) IssueApplication(ctx context.Context) (string, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return "", err
	}
	return a.IssueApplicationToken(ctx, caller.User)
}

// Tokens lists the caller's valid tokens, the newest first. Those that expired leave the list when the next token is made.
func (a *Accounts) Tokens(ctx context.Context) ([]pai.Token, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return nil, err
	}
	var out []pai.Token
	for text, id := range a.cluster.Tokens(caller.User) {
		c, err := a.signer.read(text)
		if err != nil || c.Username != string(caller.User) {
			continue
		}
		t := pai.Token{ID: id, Text: text, Application: c.Application, Current: text == caller.Token}
		if c.IssuedAt != nil {
			t.Issued = c.IssuedAt.Time
		}
		if c.ExpiresAt != nil {
			t.Expires = c.ExpiresAt.Time
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y pai.Token) int {
		if d := y.Issued.Compare(x.Issued); d != 0 {
			return d
		}
		return strings.Compare(x.ID, y.ID)
	})
	return out, nil
}

// Revoke takes a token off its user's list. The name in a token need not be proven: only what is listed word by word is taken off, and
// only off lists that the caller may change.
func (a *Accounts) Revoke(ctx context.Context, token string) (bool, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return false, err
	}
	owner := caller.User
	if named, err := pai.ParseUserName(unproven(token).Username); err == nil {
		owner = named
	}
	if owner != caller.User && !caller.Admin {
		return false, pai.Errorf(pai.ForbiddenUserError, "The token belongs to user %s: only administrators may revoke it.", owner)
	}
	removed, err := a.cluster.RevokeTokens(ctx, owner, func(id, listed string) bool {
		return listed == token || (id == token && owner == caller.User)
	})
	return len(removed) > 0, err
}

// signOut revokes a user's tokens, but for the one that the caller came with and those of applications.
func (a *Accounts) signOut(ctx context.Context, user pai.UserName) error {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return err
	}
	_, err = a.cluster.RevokeTokens(ctx, user, func(_, listed string) bool {
		return listed != caller.Token && !unproven(listed).Application
	})
	return err
}
