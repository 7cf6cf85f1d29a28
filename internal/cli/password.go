package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// passwordFlags say where a password comes from. Never from an argument: other users could see it.
type passwordFlags struct {
	file  string
	stdin bool
}

func (f *passwordFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "password-file", "", "read the password from the first line of this file")
	cmd.Flags().BoolVar(&f.stdin, "password-stdin", false, "read the password from the first line of standard input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
}

// read gets the password; without a flag it asks on the terminal, twice when the password is new.
func (f *passwordFlags) read(s *Streams, whose string, fresh bool) (pai.Password, error) {
	switch {
	case f.file != "":
		file, err := os.Open(f.file)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		defer file.Close()
		return firstLine(file)
	case f.stdin:
		return firstLine(s.In)
	}
	in, ok := s.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usageError{errors.New("no terminal to ask for the password: use --password-file FILE or --password-stdin")}
	}
	password, err := ask(s, in, "Password of "+whose+": ")
	if err != nil || !fresh {
		return password, err
	}
	again, err := ask(s, in, "Again: ")
	if err == nil && again != password {
		err = errors.New("the two passwords differ")
	}
	return password, err
}

func ask(s *Streams, in *os.File, prompt string) (pai.Password, error) {
	fmt.Fprint(s.Err, prompt)
	text, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(s.Err)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return pai.Password(text), nil
}

func firstLine(r io.Reader) (pai.Password, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadBytes('\n')
	if err == nil || err == io.EOF {
		line, err = yamltext.Text(line)
	}
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(line), "\r\n")
	if password == "" {
		return "", errors.New("the password is empty")
	}
	return pai.Password(password), nil
}
