package checkpoint

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/stats"
	"google.golang.org/protobuf/proto"
)

// Stats are CRIU's statistics of a dump.
type Stats struct {
	// Freezing is from the first attempt to stop the process until it stands
	// still, Frozen from there to the moment it goes on, as far as CRIU is
	// concerned.
	Freezing, Frozen time.Duration
}

// ParseStats reads CRIU's statistics of a dump: two magic numbers, the length of a
// message, the message. go-criu reads it from a directory only. nil: there is none
// of a dump.
func ParseStats(data []byte) (*Stats, error) {
	if len(data) < stats.PayloadOffset ||
		binary.LittleEndian.Uint32(data[stats.PrimaryMagicOffset:]) != stats.ImgServiceMagic ||
		binary.LittleEndian.Uint32(data[stats.SecondaryMagicOffset:]) != stats.StatsMagic {
		return nil, errors.New("not statistics of CRIU")
	}
	size := binary.LittleEndian.Uint32(data[stats.SizeOffset:])
	payload := data[stats.PayloadOffset:]
	if uint64(size) > uint64(len(payload)) {
		return nil, errors.New("cut off")
	}
	var entry stats.StatsEntry
	if err := proto.Unmarshal(payload[:size], &entry); err != nil {
		return nil, err
	}
	dump := entry.GetDump()
	if dump == nil {
		return nil, nil
	}
	return &Stats{
		Freezing: time.Duration(dump.GetFreezingTime()) * time.Microsecond,
		Frozen:   time.Duration(dump.GetFrozenTime()) * time.Microsecond,
	}, nil
}

// readStats takes from the statistics how long the process was stopped.
func (a *Archive) readStats(data []byte) error {
	s, err := ParseStats(data)
	if s != nil {
		frozen := s.Freezing + s.Frozen
		a.Frozen = &frozen
	}
	return err
}
