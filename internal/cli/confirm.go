package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// askToGoOn asks before something that cannot be undone. Without a terminal nobody can answer, and a script has to say --yes.
func askToGoOn(s *Streams, question string) error {
	in, ok := s.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usageError{errors.New("no terminal to ask at: say --yes to go on")}
	}
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || (answer != "y" && answer != "yes") {
		return errors.New("nothing is done")
	}
	return nil
}
