package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/pai-storage/pai-storage/internal/term"
)

// askToGoOn asks before something that cannot be undone. Without a terminal nobody can answer, and a script has to say --yes.
func askToGoOn(s *Streams, question string) error {
	if !term.Is(s.In) {
		return usageError{errors.New("no terminal to ask at: say --yes to go on")}
	}
	if !confirmed(s, question) {
		return errors.New("nothing is done")
	}
	return nil
}

// confirmed asks at the terminal. What is not plainly yes is no.
func confirmed(s *Streams, question string) bool {
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	line, err := bufio.NewReader(s.In).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (answer == "y" || answer == "yes")
}
