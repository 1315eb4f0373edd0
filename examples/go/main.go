// Submits a mission, follows it over breaks of the connection, and prints its result.
//
//	buf generate ../../proto
//	MISSIONGATE_TOKEN=$(cat ~/.local/share/missiongate/keys/admin.token) go run . ../report.yaml
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"missiongate.example/client/gateway/v1"
)

// What may be repeated is: a submission by its request id, and reads.
const serviceConfig = `{"methodConfig": [{
	"name": [
		{"service": "gateway.v1.MissionService", "method": "SubmitMission"},
		{"service": "gateway.v1.MissionService", "method": "GetMission"}
	],
	"timeout": "30s",
	"retryPolicy": {
		"maxAttempts": 5, "initialBackoff": "0.25s", "maxBackoff": "5s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
	}
}]}`

const reconnectsMax = 12

// bearer sends the token with each call. Over TLS, RequireTransportSecurity should be true.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	document, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(
		os.Getenv("MISSIONGATE_SERVER"), // a loopback address: without TLS the token is not for a network
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(os.Getenv("MISSIONGATE_TOKEN"))),
		grpc.WithDefaultServiceConfig(serviceConfig),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	missions := gatewayv1.NewMissionServiceClient(connection)

	submitted, err := missions.SubmitMission(ctx, &gatewayv1.SubmitMissionRequest{
		RequestId: "examples/go", // the program's own: started again, it asks for the same mission
		Form:      &gatewayv1.SubmitMissionRequest_Document{Document: document},
	})
	if err != nil {
		return err
	}
	if err := watch(ctx, missions, submitted.MissionId); err != nil {
		return err
	}
	got, err := missions.GetMission(ctx, &gatewayv1.GetMissionRequest{MissionId: submitted.MissionId})
	if err != nil {
		return err
	}
	result := got.Mission.Result
	fmt.Printf("%s: %d steps\n", result.OverallStatus, result.StepsCompleted)
	return nil
}

// watch prints each event once, in order: a stream that breaks is opened again behind the last one.
func watch(ctx context.Context, missions gatewayv1.MissionServiceClient, missionID string) error {
	var next int64
	for failures := 0; ; failures++ {
		stream, err := missions.WatchMission(ctx, &gatewayv1.WatchMissionRequest{MissionId: missionID, FromIndex: next})
		for err == nil {
			var answer *gatewayv1.WatchMissionResponse
			if answer, err = stream.Recv(); err == nil {
				event := answer.Event
				fmt.Printf("%d %s %s\n", event.Index, event.Kind, event.StepId)
				next, failures = event.Index+1, 0
			}
		}
		if errors.Is(err, io.EOF) { // with the mission, or with a gateway that stops
			got, gone := missions.GetMission(ctx, &gatewayv1.GetMissionRequest{MissionId: missionID})
			if gone == nil && got.Mission.EndedAt != nil {
				return nil
			}
		} else if status.Code(err) != codes.Unavailable {
			return err
		}
		if failures == reconnectsMax {
			return err
		}
		time.Sleep(min(250*time.Millisecond<<failures, 5*time.Second))
	}
}

// explain returns what an error says beyond its status: the code on which a program may branch, and the fields.
func explain(err error) string {
	text := err.Error()
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			text += "\n" + detail.Reason
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				text += fmt.Sprintf("\n%s: %s", violation.Field, violation.Description)
			}
		}
	}
	return text
}
