package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

func newJobConfig(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "config JOB",
		Short: "Print the document that a job was submitted with",
		Long: `Print the document that a job was submitted with, as it was, but for the values of its secrets, which nobody is shown
again.`,
		Example: `  paictl job config train-7 > train-8.yaml
  paictl job config train-7 --output json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobConfig(cmd.Context(), s, cmd, args[0]) },
	}
}

func runJobConfig(ctx context.Context, s *Streams, cmd *cobra.Command, arg string) error {
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	document, err := c.JobConfig(ctx, id)
	if err != nil {
		return err
	}
	if outputFormat(cmd) != "json" {
		_, err := s.Out.Write(document)
		return err
	}
	var value any
	if err := yaml.Unmarshal(document, &value); err != nil {
		return fmt.Errorf("document of job %s: %w", id, err)
	}
	return printResult(s, cmd, value, nil)
}
