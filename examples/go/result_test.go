package tidewire

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

const kit = "../../docs/protocol-kit"

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(path, err)
	}
}

func TestWindows(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Name     string
			Snapshot []json.RawMessage
			Steps    []struct {
				Messages []message
				IDs      []json.RawMessage
			}
		}
	}
	read(t, filepath.Join(kit, "vectors", "windows.json"), &vectors)
	for _, one := range vectors.Cases {
		held := newResult(true, "")
		held.start(message{Start: "snapshot"})
		held.apply(message{Type: "snapshot", Docs: one.Snapshot, Last: true})
		for number, step := range one.Steps {
			for _, m := range step.Messages {
				held.apply(m)
			}
			want := []string{}
			for _, id := range step.IDs {
				want = append(want, string(id))
			}
			if got := append([]string{}, held.order...); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, step %d: %v, not %v", one.Name, number, got, want)
			}
		}
	}
}

func TestTranscript(t *testing.T) {
	var transcript struct {
		Steps []struct{ Message json.RawMessage }
	}
	read(t, filepath.Join(kit, "transcripts", "a-snapshot-and-the-changes-after-it.json"), &transcript)
	held, changes := newResult(true, ""), []string{}
	for number, step := range transcript.Steps {
		var m message
		if step.Message == nil {
			continue
		}
		// The placeholders of welcome are strings, and are of no interest here.
		if err := json.Unmarshal(step.Message, &m); err != nil && m.Type != "welcome" {
			t.Fatal(number, err)
		}
		change := held.apply(m)
		if m.Type == "subscribed" {
			change = held.start(m)
		}
		if change != nil {
			changes = append(changes, change.Type)
		}
	}
	want := []string{"snapshot", "added", "changed", "changed", "added", "removed", "removed"}
	if !reflect.DeepEqual(changes, want) || !reflect.DeepEqual(held.order, []string{`"2"`}) {
		t.Errorf("%v and %v", changes, held.order)
	}
}
