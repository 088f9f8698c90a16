// A character of `mvae-fast export walk --controller stick -o walk.h` in Unreal Engine 5. Not run
// here: see README.md.
//
// An actor with a poseable mesh whose bones are named as in walk.h, in their rest pose as exported.
// The C header takes less time than the ONNX graph in NNE, and needs no plug-in. Put walk.h beside
// this file and walk.bin into Content/.
#include "Components/PoseableMeshComponent.h"
#include "GameFramework/Actor.h"
#include "Misc/FileHelper.h"
#include "Misc/Paths.h"
#define WALK_IMPLEMENTATION
#include "walk.h"
#include "Walker.generated.h"

// Unreal is left-handed, z up, in centimetres.
static FVector Place(const float at[3]) { return FVector(100 * at[0], 100 * at[2], 100 * at[1]); }
static FQuat Turn(const float q[4]) { return FQuat(-q[0], -q[2], -q[1], q[3]); }

UCLASS()
class AWalker : public AActor
{
  GENERATED_BODY()

public:
  UPROPERTY(EditAnywhere) UPoseableMeshComponent *Mesh;
  // The velocity to walk at, centimetres a second on the ground.
  UPROPERTY(BlueprintReadWrite) FVector2D Wanted = FVector2D::ZeroVector;

  AWalker()
  {
    PrimaryActorTick.bCanEverTick = true;
    RootComponent = Mesh = CreateDefaultSubobject<UPoseableMeshComponent>("Mesh");
  }

  virtual void BeginPlay() override
  {
    Super::BeginPlay();
    if (!FFileHelper::LoadFileToArray(Bytes, *(FPaths::ProjectContentDir() / "walk.bin")) || walk_load(&Model, Bytes.GetData(), Bytes.Num()))
    {
      UE_LOG(LogTemp, Error, TEXT("walk.bin is missing, or is not the file that belongs to walk.h"));
      SetActorTickEnabled(false);
      return;
    }
    walk_begin(&Model, &One, GetUniqueID());
    Step();
    Step();
  }

  virtual void Tick(float Seconds) override
  {
    Super::Tick(Seconds);
    // The model has its own rate: between two of its frames, the picture is a mixture of both.
    for (Passed += Seconds * WALK_FPS; Passed >= 1; Passed -= 1) Step();
    TArray<FTransform> World;
    World.SetNum(WALK_JOINTS);
    for (int Joint = 0; Joint < WALK_JOINTS; ++Joint)
    {
      const FVector At = FMath::Lerp(Place(Places[0][Joint]), Place(Places[1][Joint]), Passed);
      // Parents may come after their children: multiply up to the hips.
      FQuat Own = FQuat::Identity;
      for (int Up = Joint; Up >= 0; Up = walk_parents[Up]) Own = FQuat::Slerp(Turn(Turns[0][Up]), Turn(Turns[1][Up]), Passed) * Own;
      Mesh->SetBoneTransformByName(walk_names[Joint], FTransform(Own, At), EBoneSpaces::ComponentSpace);
    }
  }

private:
  void Step()
  {
    const float Velocity[2] = { float(Wanted.X) / 100, float(Wanted.Y) / 100 };
    walk_toward(&Model, &One, 1, Velocity);
    FMemory::Memcpy(Places[0], Places[1], sizeof Places[0]);
    FMemory::Memcpy(Turns[0], Turns[1], sizeof Turns[0]);
    walk_joints(&One, Places[1]);
    walk_rotations(&One, Turns[1]);
  }

  TArray<uint8> Bytes;
  walk_model Model;
  walk_character One;
  float Places[2][WALK_JOINTS][3], Turns[2][WALK_JOINTS][4], Passed = 0;
};
