package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Audit(ctx context.Context, q pai.AuditQuery) (pai.AuditPage, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.AuditPage{}, err
	}
	return g.next.Audit.Audit(ctx, q)
}
