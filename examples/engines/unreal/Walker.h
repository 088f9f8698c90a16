// A character of `mvae-fast export walk --controller stick -o walk.h` in Unreal Engine 5. Not run
// here: see README.md.
//
// An actor with a poseable mesh whose bones are named as in walk.h, with the axes that they have
// there. The glTF importer keeps them: import a .glb of `mvae-fast generate`. The C header takes
// less time than the ONNX graph in NNE, and needs no plug-in. Put walk.h beside this file, and
// walk.bin into Content/ (packaging: "Additional Non-Asset Directories to Copy").
#pragma once
#include "CoreMinimal.h"
#include "Components/PoseableMeshComponent.h"
#include "GameFramework/Actor.h"
#include "walk.h"
#include "Walker.generated.h"

UCLASS()
class AWalker : public AActor
{
  GENERATED_BODY()

public:
  UPROPERTY(EditAnywhere) TObjectPtr<UPoseableMeshComponent> Mesh;
  // The velocity to walk at, centimetres a second on the ground, in the actor's own axes.
  UPROPERTY(BlueprintReadWrite, EditAnywhere) FVector2D Wanted = FVector2D::ZeroVector;

  AWalker();
  virtual void BeginPlay() override;
  virtual void Tick(float Seconds) override;

private:
  void Step();

  TArray<uint8> Bytes;
  walk_model Model;
  walk_character One;
  float Places[2][WALK_JOINTS][3], Turns[2][WALK_JOINTS][4], Passed = 0;
};
