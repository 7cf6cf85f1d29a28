package auth

import (
	"context"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Login(ctx context.Context, c pai.Credentials) (pai.Session, error) {
	return g.next.Tokens.Login(ctx, c)
}

func (g *guard) Authenticate(ctx context.Context, token string) (pai.Caller, error) {
	return g.next.Tokens.Authenticate(ctx, token)
}

func (g *guard) Logout(ctx context.Context) error {
	if err := pai.Person.Check(ctx); err != nil {
		return err
	}
	return g.next.Tokens.Logout(ctx)
}

func (g *guard) Issue(ctx context.Context, lifetime time.Duration) (string, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return "", err
	}
	return g.next.Tokens.Issue(ctx, lifetime)
}

func (g *guard) IssueApplication(ctx context.Context) (string, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return "", err
	}
	return g.next.Tokens.IssueApplication(ctx)
}

func (g *guard) Tokens(ctx context.Context) ([]pai.Token, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Tokens.Tokens(ctx)
}

func (g *guard) Revoke(ctx context.Context, token string) (bool, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return false, err
	}
	return g.next.Tokens.Revoke(ctx, token)
}
