package checkpoint

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/stats"
	"google.golang.org/protobuf/proto"
)

// readStats reads CRIU's statistics of the dump: two magic numbers, the length
// of a message, the message. go-criu reads it from a directory only.
//
// Frozen counts from the first attempt to stop the process to the moment it goes
// on: freezing and frozen time.
func (a *Archive) readStats(data []byte) error {
	if len(data) < stats.PayloadOffset ||
		binary.LittleEndian.Uint32(data[stats.PrimaryMagicOffset:]) != stats.ImgServiceMagic ||
		binary.LittleEndian.Uint32(data[stats.SecondaryMagicOffset:]) != stats.StatsMagic {
		return errors.New("not statistics of CRIU")
	}
	size := binary.LittleEndian.Uint32(data[stats.SizeOffset:])
	payload := data[stats.PayloadOffset:]
	if uint64(size) > uint64(len(payload)) {
		return errors.New("cut off")
	}
	var entry stats.StatsEntry
	if err := proto.Unmarshal(payload[:size], &entry); err != nil {
		return err
	}
	if dump := entry.GetDump(); dump != nil {
		micros := uint64(dump.GetFreezingTime()) + uint64(dump.GetFrozenTime())
		frozen := time.Duration(micros) * time.Microsecond
		a.Frozen = &frozen
	}
	return nil
}
